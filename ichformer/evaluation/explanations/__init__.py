"""Methods of explanation beside controls, over scans whose finding is known."""
