"""What the venues' own files are made of: one package each, which know the brain and the shell, never each other."""
