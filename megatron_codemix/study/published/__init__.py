"""What papers have published of the experiments that studies repeat, as data: YAML files, a folder
for each paper. Values that a paper gives only as a picture are not here."""
