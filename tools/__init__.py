"""What stands beside the package: a checkout has it, an installed wheel has not."""
