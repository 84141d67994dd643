"""Words that random texts are made of: short, common, with vowels, doubles and palindromes among
them."""

WORDS = (
    "apple", "level", "river", "stone", "moon", "cat", "dog", "tree", "noon", "kayak", "bread",
    "milk", "letter", "summer", "winter", "glass", "book", "paper", "ink", "owl", "eel", "otter",
    "ant", "bee", "wolf", "radar", "civic", "pepper", "salt", "sugar", "tea", "coffee", "banana",
    "cherry", "lemon", "melon", "onion", "potato", "carrot", "rice", "sky", "rhythm", "fly", "by",
    "a", "i", "on", "up", "an", "it", "sea", "lake", "hill", "field", "road", "street", "house",
    "door", "window", "table", "chair", "lamp", "clock", "key", "ring", "coin", "rope", "wheel",
    "engine", "train", "boat", "ship", "sail", "wind", "rain", "snow", "cloud", "storm", "eve",
    "queen", "king", "guard", "tower", "bridge", "castle", "forest", "garden", "flower", "seed",
    "leaf", "root", "bark", "nest", "egg", "feather", "wing", "song", "drum", "flute", "dance",
    "game", "ball", "team", "goal", "score", "match", "deed", "stats", "refer", "rotor", "pop",
    "hello", "world", "green", "yellow", "orange", "purple", "silver", "golden", "small", "tall",
    "quick", "slow", "happy", "quiet", "busy", "early", "late", "under", "over", "area", "idea",
)  # fmt: skip
