"""What filters, duplicates, decontamination and the others share: a corpus goes through them part
by part, by any number of processes on any number of nodes, and a kill costs a part.
"""
