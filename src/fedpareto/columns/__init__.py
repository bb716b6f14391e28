"""Tables and their columns, declared once: name, type, unit, role and one line of help."""
