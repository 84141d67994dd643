"""From files of others, and from our own studies, to a `RunTable`."""
