"""An extension that does nothing, with a dependency that phones home: what the egress guard is there for."""
