"""Real processes on hosts of a lab, and what goes wrong there: calls end, nothing is left, and neighbours go on."""
