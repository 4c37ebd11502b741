"""The failed-job report: open failures, one job's history, and replay, discard and edit."""
