"""What the user asked for (`RunConfig`), how it is read, checked, and what follows from it
(`RunPlan`)."""
