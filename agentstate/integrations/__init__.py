"""Integrations with frameworks for agents. Each imports its SDK only once it is used."""

AGENTS_MISSING = 'The OpenAI Agents SDK is missing ({}). Install it: pip install "agentstate[agents]".'
