"""`report.html`: what a reader sees of a study, from the values of `report.json`."""
