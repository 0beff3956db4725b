"""What bad files, bad days and hostile inputs do: the complete result, or a sentence."""
