"""The failed-job report: what needs a person, one job's story, and acting on both."""
