"""Names of the files that every run has, whatever the form of its images."""

LABELS = "labels.jsonl"
REJECTED = "rejected.jsonl"
CONTACT_SHEET = "contact_sheet.png"
CARDS = "contact_sheet.jsonl"  # of a run that is not finished
TIMING = "timing.jsonl"
REPORT = "report.html"
