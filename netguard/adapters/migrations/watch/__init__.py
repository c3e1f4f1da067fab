"""Steps of watch.db."""
