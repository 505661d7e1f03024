"""What a run tells people: its record, reports with their history, the page of the fleet. Runs on the controller alone."""
