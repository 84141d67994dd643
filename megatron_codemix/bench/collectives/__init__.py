"""How fast ranks exchange tensors, beside what the planner expects of their links."""
