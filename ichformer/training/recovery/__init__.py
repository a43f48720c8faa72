"""What a training does about updates that fail and about being interrupted."""
