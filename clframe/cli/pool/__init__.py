"""One file for each action of `clframe pool`."""
