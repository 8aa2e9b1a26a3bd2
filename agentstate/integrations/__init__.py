"""Integrations with frameworks for agents. Each imports its SDK only once it is used."""
