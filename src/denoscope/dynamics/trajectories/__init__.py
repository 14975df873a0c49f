"""Trajectories of one map: divergence, geometry, commitment, theory."""
