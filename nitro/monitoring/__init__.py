"""What an operator watches a node with."""
