"""The sweep: runs, bundles, and what each of them proves."""
