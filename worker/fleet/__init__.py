"""The fleet as a whole, for machines that watch it or size it: how many workers are useful, and the ledger's gauges."""
