"""netguard keeps lent tablets in their lane: admission, fence, names, presence, alerts."""

__version__ = "0.1.0.dev0"
