"""What is decided after training, on images no network has learnt from: views, holes, threshold and least areas."""
