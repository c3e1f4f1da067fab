"""guard, dns and watch: the only places where everything meets."""
