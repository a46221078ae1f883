"""The shell: threads, sockets, files and clocks. It decides nothing."""
