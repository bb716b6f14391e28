"""The compiled program: a round, its release, the server, evaluation."""
