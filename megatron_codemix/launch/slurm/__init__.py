"""Jobs on a SLURM cluster: what the cluster is like, batch scripts, SLURM's programs."""
