"""What lies on the disk: folders that appear whole, whose files they are, npz archives, checkpoints."""
