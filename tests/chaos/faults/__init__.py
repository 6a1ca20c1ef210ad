"""What is done to an engine while it works: one function a kind of fault, and the injector that carries a plan out."""
