"""What happens on a social platform when something changes: a simulator whose numbers can be rerun."""
