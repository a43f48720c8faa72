"""Commands about frozen features of scans."""
