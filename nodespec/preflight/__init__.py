"""What a bundle runs: its command line, the boot gate, the systemd unit."""
