"""What a study found: tables, figures and one self-contained page, from run directories only."""
