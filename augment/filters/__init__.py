"""Which generated rows pass: rules that read texts, and filters that ask a model."""
