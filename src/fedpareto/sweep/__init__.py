"""The sweep: runs, bundles and their guarantees."""
