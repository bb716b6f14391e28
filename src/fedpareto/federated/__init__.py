"""Federated training as compiled JAX programs: client update, server update, one round, one whole bundle."""
