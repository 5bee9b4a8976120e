"""`clframe select` and its actions, a file each."""
