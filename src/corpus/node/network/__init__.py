"""The environments' bridge, their addresses, the firewall before them."""
