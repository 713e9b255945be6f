"""From pixels to views: decoded frames, 68 landmarks a frame, and aligned crops of the face."""
