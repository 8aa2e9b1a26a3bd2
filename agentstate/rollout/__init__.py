"""Rolling out under evidence: what reads of both homes found."""
