"""Steps of guard.db."""
