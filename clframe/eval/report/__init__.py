"""What people read: tables, figures and one HTML file. It computes nothing that `clframe.eval.metrics` does not define."""
