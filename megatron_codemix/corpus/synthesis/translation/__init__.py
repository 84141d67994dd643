"""The restricted Python of our solutions as JavaScript that a programmer would have written.

`translate.translate` goes from source to source; `inference` finds the types and `bounds` the signs
that decide where JavaScript means something else; `writer` and the modules below it write.
`engine` runs the result in QuickJS inside the sandbox, on the inputs of the Python solution.
"""
