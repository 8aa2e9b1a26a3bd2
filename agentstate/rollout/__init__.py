"""The rollout: its stages, the conditions of each step with their evidence, and the steps up and down."""
