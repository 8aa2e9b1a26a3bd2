"""The contract migration, which drops the five legacy columns. Installed with AGENTSTATE_CONTRACT=1 only."""
