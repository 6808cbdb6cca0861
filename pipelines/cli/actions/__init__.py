"""What the commands do, one module per noun; imported only when a command of that noun runs."""
