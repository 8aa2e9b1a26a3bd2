"""Rolling out under evidence: the stages, what each step asks for and was found, and the steps up and down."""
