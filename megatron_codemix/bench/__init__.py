"""What `codemix bench` runs: ours and a peer, measured side by side on the machine at hand."""
